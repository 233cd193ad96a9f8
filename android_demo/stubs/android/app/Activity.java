// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.app;

import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.view.View;
import android.view.Window;

public class Activity extends Context {
    protected native void onCreate(Bundle savedInstanceState);

    protected native void onPause();

    protected native void onDestroy();

    public native void onWindowFocusChanged(boolean hasFocus);

    public native void setContentView(int layoutResID);

    public native Window getWindow();

    public native <T extends View> T findViewById(int id);

    public native Intent getIntent();

    public native boolean isDestroyed();

    public native void finish();

    public final native void runOnUiThread(Runnable action);
}
