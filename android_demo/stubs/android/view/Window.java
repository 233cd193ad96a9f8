// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.view;

public abstract class Window {
    public abstract View getDecorView();
}
