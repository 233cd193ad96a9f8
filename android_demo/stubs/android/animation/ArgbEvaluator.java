// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.animation;

public class ArgbEvaluator {
    public native Object evaluate(float fraction, Object startValue, Object endValue);
}
